# Sourced by scripts that train on text, never run: plain text, a vocabulary that is learnt from it, token shards; each is made once. A script sets
#
#   bin               the folder of sluice-data
#   text              the user's own files (an array); empty: the PostgreSQL manual (get_text.py)
#   validation_text   files to evaluate on (an array); empty: a part of the text is held out
#   advice            a function: a sentence for the exit code of a stage, or nothing
#
# and calls make_shards.

# stage NAME SENTENCE KEY COMMAND…: runs the command, unless it succeeded before with the same KEY (what its result depends on), which is kept in
# `stage_marker`, else in a file of the folder `work`.
stage() {
  local name=$1 sentence=$2 key=$3 marker=${stage_marker:-$work/$1.done} started=$SECONDS status=0
  shift 3
  if [ -f "$marker" ] && [ "$(cat "$marker")" = "$key" ]; then
    say "$name: there already"
    return
  fi
  say "$name: $sentence"
  "$@" || status=$?
  if [ "$status" -ne 0 ]; then
    STOP_CODE=$status stop "the stage '$name' failed with code $status (above). $(advice "$status")" \
      "The same command goes on from here"
  fi
  printf '%s' "$key" >"$marker"
  say "$name: done in $((SECONDS - started)) s"
}

# Of what is in files, in one number.
checksum() { cat -- "$@" </dev/null | sha256sum | cut -c1-64; }

learn_vocabulary() {
  rm -rf "$work/vocabulary"
  "$bin/sluice-data" learn-vocabulary --tokenizer "$1" --size "$2" --out "$work/vocabulary" "$work/text/train.txt"
}

prepare_shards() {
  local part
  for part in train validation; do
    rm -rf "${work:?}/$part"
    "$bin/sluice-data" prepare --tokenizer "$1" --vocabulary "$work/vocabulary" --out "$work/$part" \
      "$work/text/$part.txt" || return
  done
}

# make_shards FOLDER TOKENIZER SIZE: $work/train and $work/validation, where `work` is FOLDER, or one beside it for each text of the user's.
# `shards_key` says what they depend on.
make_shards() {
  local folder=$1 tokenizer=$2 size=$3 key text_sum vocabulary_sum
  local sources=(${text:+--text "${text[@]}"} ${validation_text:+--validation "${validation_text[@]}"})
  key=$(launch/get_text.py --out . --key "${sources[@]}")
  work=$folder
  [ ${#text[@]} -eq 0 ] || work=${folder}_$(sha256sum <<<"$key" | cut -c1-12)
  mkdir -p "$work"
  stage text "plain text, some of it held out" "$key" launch/get_text.py --out "$work/text" "${sources[@]}"
  text_sum=$(checksum "$work"/text/*.txt)
  stage vocabulary "learning $size tokens ($tokenizer)" "$text_sum $size" learn_vocabulary "$tokenizer" "$size"
  [ -d "$work/vocabulary" ] || stop "$work/vocabulary has gone; delete $work/vocabulary.done and it is made again"
  mapfile -t vocabulary_files < <(find "$work/vocabulary" -type f | sort)
  vocabulary_sum=$(checksum "${vocabulary_files[@]}")
  stage prepare "text to token shards" "$text_sum $vocabulary_sum" prepare_shards "$tokenizer"
  shards_key="$text_sum $vocabulary_sum"
}
