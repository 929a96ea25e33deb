// How many files a process may have open.
#pragma once

namespace sluice {

// Lifts the soft limit to the hard one: a data set's shards all stay open, and the usual soft limit
// is 1,024. What cannot be lifted stays as it is.
void AllowManyOpenFiles();

}  // namespace sluice
