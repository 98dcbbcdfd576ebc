/*
 * `smallage worker`: builds everything in order, runs the loop, takes everything down in reverse.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

/* `argv` is what stands behind the subcommand. Returns the process's exit code. */
int worker_main(int argc, char **argv);

#endif
