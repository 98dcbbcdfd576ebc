/* Whole small files and folders, for the loop thread: local files only, nothing that waits. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

/* mkdir -p. */
int folder_make(const char *path, struct err *err);
/* Appends the whole file. Returns 1, 0 when there is no such file, -1 on errors (ERR_LIMIT when
 * `out` is full). Links and special files are refused. */
int file_read(struct str *out, const char *path, struct err *err);
/* Creates or replaces a file; on failure it is removed again. Not atomic: write under another name
 * and rename. */
int file_write(const char *path, const void *data, size_t len, struct err *err);

void file_close_fd(const int *fd);
#define auto_fd __attribute__((cleanup(file_close_fd))) int

#endif
