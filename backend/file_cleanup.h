/* Removes records, groups and counters of a folder that are older than results live. */
#ifndef BACKEND_FILE_CLEANUP_H
#define BACKEND_FILE_CLEANUP_H

#include <uv.h>

/* Returns at once; 0 seconds = they live for ever. */
void file_cleanup(uv_loop_t *loop, const char *folder, double expires_s);

#endif
