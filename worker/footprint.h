/* Memory that only the start needed. */
#ifndef WORKER_FOOTPRINT_H
#define WORKER_FOOTPRINT_H

/*
 * Gives the clean pages of all loaded libraries back to the page cache: resolving symbols and
 * running constructors touched megabytes of them that an idle worker never reads again. What is
 * still needed is mapped again at the next touch. Frees unused heap too.
 */
void footprint_trim(void);

#endif
