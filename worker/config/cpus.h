/*
 * How many CPUs this process may use: those of its affinity mask, for a pool of processes limited
 * by the cgroup's CPU quota, rounded up (1.5 CPUs -> 2 slots). contract: control.md C-78. Mirrors
 * celery/utils/sysinfo.py.
 */
#ifndef WORKER_CONFIG_CPUS_H
#define WORKER_CONFIG_CPUS_H

/* CPUs of the affinity mask, at least 1. */
unsigned cpus_available(void);
/* Quota in CPUs that applies to this process or a group around it, 0 = none. `root` stands in front
 * of /proc/self/cgroup and /sys/fs/cgroup; "" is the real system. */
double cpus_quota(const char *root);
/* What both give: at least 1, at most `available`. */
unsigned cpus_budget(unsigned available, double quota);

#endif
