/* What ps and top show for a process. */
#ifndef WORKER_POOL_TITLE_H
#define WORKER_POOL_TITLE_H

/* Also overwrites the command line, which may hold a broker's password, as far as it is long; so
 * nothing in this process may still point into argv. */
void title_set(const char *title);

#endif
