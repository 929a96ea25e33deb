# Sourced by scripts that train a list of runs one after the other, never run: what is done, what is left, how long that may take. A script sets
#
#   out          the folder of all runs; that of a run is out/ARM_seed_SEED
#   sluice       the program
#   settings     key=value of every run (an array)
#   runs         a function: ARM SEED UPDATES of each run, a line each, in order; a run that appears again goes on from where it was
#   config_of    a function: the configuration of an ARM
#   finish_run   a function: what is done with the folder of a run that has all its updates, unless it was done before
#
# and calls train_all. Stopped at any time, the same call goes on.

folder() { echo "$out/${1}_seed_$2"; }
updates_done() { cat "$(folder "$1" "$2")/updates_done" 2>/dev/null || echo 0; }

# Updates that are left of all runs together; a run that appears twice counts once.
updates_left() {
  runs | sort -k1,2 -k3,3n | awk -v out="$out" '
    { most[$1 "_seed_" $2] = $3 }
    END {
      for (run in most) {
        done = 0
        file = out "/" run "/updates_done"
        getline done < file
        if (most[run] > done) left += most[run] - done
      }
      print left + 0
    }'
}

# What of settings and configuration files a run's results depend on: of what may change when a run goes on (resume_check.cc), precision and
# schedule alone. grep ends with 1 where no line is left, which is no error.
recipe_of() {
  local file next
  printf '%s\n' "${settings[@]}" |
    grep -vE '^((runtime|checkpoint|telemetry)\.|data\.prefetch_batches=|training\.(gradient_accumulation_steps|log_every|evaluate_every|evaluation_batches)=)' || true
  file=$(config_of "$1")
  while [ -n "$file" ]; do
    sed 's/[[:space:]]*#.*$//; /^[[:space:]]*$/d' "$file" | awk '
      /^[^ ]/ { skipped = $1 ~ /^(runtime|checkpoint|telemetry|extends|name):/ }
      !skipped && $1 !~ /^(prefetch_batches|gradient_accumulation_steps|log_every|evaluate_every|evaluation_batches|steps):/'
    next=$(sed -n 's/^extends:[[:space:]]*"\{0,1\}\([^"#]*[^"#[:space:]]\).*/\1/p' "$file")
    case $next in
      '' | /*) file=$next ;;
      *) file=$(dirname "$file")/$next ;;
    esac
  done
}

# A run that is not trained on is not looked at by the program: here, so that other settings do not end in old results. One begun without a
# recipe is taken as it is.
check_recipe() {
  local arm=$1 run=$2
  [ -f "$run/recipe" ] || return 0
  [ "$(recipe_of "$arm")" = "$(cat "$run/recipe")" ] || stop "$run was trained with other settings:" \
    "$(diff <(cat "$run/recipe") <(recipe_of "$arm") | sed -n 's/^\([<>]\) */\1 /p' | head -n 6 | paste -sd ';'). Give them again or another --out, or delete it"
}

train_one() {
  local arm=$1 seed=$2 updates=$3 run began status=0 before left seconds
  run=$(folder "$arm" "$seed")
  before=$(updates_done "$arm" "$seed")
  check_recipe "$arm" "$run"
  began=$(date +%s)
  if [ "$before" -lt "$updates" ]; then
    left=$(updates_left)
    if [ "$timed_updates" -gt 0 ]; then
      seconds=$((timed_seconds * left / timed_updates))
      say "$arm, seed $seed, to $updates updates; all that is left: $left updates, about $((seconds / 60)) min"
    else
      say "$arm, seed $seed, to $updates updates; all that is left: $left updates"
    fi
    "$sluice" train "$(config_of "$arm")" --run-folder "$run" "${settings[@]}" "training.seed=$seed" "training.steps=$updates" \
      </dev/null || status=$?
    [ "$status" -eq 0 ] || STOP_CODE=$status stop \
      "the training ended with code $status (above). The same command goes on from here"
    recipe_of "$arm" >"$run/recipe"
    echo "$updates" >"$run/updates_done"
  fi
  # A run that goes on later is finished then, too.
  [ "$before" -gt "$updates" ] || finish_run "$run"
  if [ "$before" -lt "$updates" ]; then
    timed_seconds=$((timed_seconds + $(date +%s) - began))
    timed_updates=$((timed_updates + updates - before))
  fi
}

train_all() {
  local arm seed updates
  timed_seconds=0 timed_updates=0
  while read -r arm seed updates; do
    train_one "$arm" "$seed" "$updates"
  done < <(runs)
}
