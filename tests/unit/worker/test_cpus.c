#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "worker/config/cpus.h"

static char root[] = "/tmp/smallage-cpus-XXXXXX";

/* Writes one file of a pretended system, making its folders. */
static void put(const char *path, const char *text)
{
	auto_free char *whole = mem_printf("%s%s", root, path);
	FILE *file;

	for (char *at = whole + sizeof(root); *at; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		mkdir(whole, 0700);
		*at = '/';
	}
	file = fopen(whole, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static void begin(void)
{
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
	(void)info;
	(void)kind;
	(void)where;
	return remove(path);
}

static void end(void)
{
	nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* C-78 */
START_TEST(a_quota_of_one_and_a_half_cpus_gives_two_slots)
{
	begin();
	put("/proc/self/cgroup", "0::/docker/abc\n");
	put("/sys/fs/cgroup/docker/abc/cpu.max", "150000 100000\n");
	ck_assert_double_eq(cpus_quota(root), 1.5);
	ck_assert_uint_eq(cpus_budget(16, cpus_quota(root)), 2);
	end();
}
END_TEST

/* C-78 */
START_TEST(without_a_quota_the_affinity_mask_counts)
{
	begin();
	put("/proc/self/cgroup", "0::/user.slice\n");
	put("/sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
	ck_assert_double_eq(cpus_quota(root), 0);
	ck_assert_uint_eq(cpus_budget(6, cpus_quota(root)), 6);
	end();
}
END_TEST

START_TEST(the_smallest_quota_of_the_groups_around_counts)
{
	begin();
	put("/proc/self/cgroup", "0::/pod/box\n");
	put("/sys/fs/cgroup/pod/box/cpu.max", "400000 100000\n");
	put("/sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
	ck_assert_double_eq(cpus_quota(root), 2.5);
	end();
}
END_TEST

START_TEST(a_container_sees_its_group_as_the_root)
{
	begin();
	put("/proc/self/cgroup", "0::/\n");
	put("/sys/fs/cgroup/cpu.max", "50000 100000\n");
	ck_assert_double_eq(cpus_quota(root), 0.5);
	ck_assert_uint_eq(cpus_budget(8, 0.5), 1);
	end();
}
END_TEST

START_TEST(version_1_groups_are_read_under_their_controllers_name)
{
	begin();
	put("/proc/self/cgroup", "12:memory:/x\n5:cpu,cpuacct:/docker/abc\n1:name=systemd:/x\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "300000\n");
	put("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
	ck_assert_double_eq(cpus_quota(root), 3);
	end();
}
END_TEST

START_TEST(version_1_quota_of_minus_one_is_none)
{
	begin();
	put("/proc/self/cgroup", "5:cpu:/a\n");
	put("/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "-1\n");
	put("/sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
	ck_assert_double_eq(cpus_quota(root), 0);
	end();
}
END_TEST

START_TEST(the_cpuset_controller_is_not_the_cpu_controller)
{
	begin();
	put("/proc/self/cgroup", "5:cpuset:/a\n");
	put("/sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "100000\n");
	put("/sys/fs/cgroup/cpuset/a/cpu.cfs_period_us", "100000\n");
	ck_assert_double_eq(cpus_quota(root), 0);
	end();
}
END_TEST

START_TEST(a_path_that_climbs_out_of_the_namespace_counts_as_its_root)
{
	begin();
	put("/proc/self/cgroup", "0::/../../other\n");
	put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
	ck_assert_double_eq(cpus_quota(root), 2);
	end();
}
END_TEST

START_TEST(nonsense_in_the_files_is_no_quota)
{
	begin();
	put("/proc/self/cgroup", "gibberish\n0:\n\n");
	put("/sys/fs/cgroup/cpu.max", "lots\n");
	ck_assert_double_eq(cpus_quota(root), 0);
	end();
}
END_TEST

/* C-78 */
START_TEST(a_quota_above_the_mask_gives_the_mask)
{
	ck_assert_uint_eq(cpus_budget(2, 7.5), 2);
	ck_assert_uint_eq(cpus_budget(0, 0), 1);
	ck_assert_uint_ge(cpus_available(), 1);
}
END_TEST
