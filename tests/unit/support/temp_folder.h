/* A folder of one test, removed at the end. */
#ifndef TESTS_UNIT_SUPPORT_TEMP_FOLDER_H
#define TESTS_UNIT_SUPPORT_TEMP_FOLDER_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

static inline void temp_folder_make(char path[64])
{
	snprintf(path, 64, "/tmp/smallage-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
}

static inline int temp_folder_visit(const char *path, const struct stat *info, int type,
				    struct FTW *where)
{
	(void)info;
	(void)type;
	(void)where;
	return remove(path);
}

static inline void temp_folder_remove(const char *path)
{
	nftw(path, temp_folder_visit, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
