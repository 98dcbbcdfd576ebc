/*
 * Functions this project does not use: calling one does not compile. The build includes this file
 * in front of every source of ours, so the headers that declare them come first.
 */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BANNED(name, instead) name##_is_banned_use_##instead

#undef strcpy
#undef strcat
#undef strncpy
#undef sprintf
#undef vsprintf
#undef strtok
#undef atoi
#undef gmtime
#undef localtime
#undef system
#undef usleep

/* No bound on what is written. */
#define strcpy(to, from)	BANNED(strcpy, snprintf_or_str)
#define strcat(to, from)	BANNED(strcat, snprintf_or_str)
#define sprintf(...)		BANNED(sprintf, snprintf_or_str)
#define vsprintf(to, fmt, args) BANNED(vsprintf, vsnprintf)
/* May leave the text without its NUL. */
#define strncpy(to, from, len) BANNED(strncpy, snprintf_or_memcpy)
/* Hidden state, shared by threads. */
#define strtok(text, ends) BANNED(strtok, strtok_r)
#define gmtime(time)	   BANNED(gmtime, gmtime_r)
#define localtime(time)	   BANNED(localtime, localtime_r)
/* Cannot tell an error from 0. */
#define atoi(text) BANNED(atoi, strtol)
/* A shell in between; a wait that does not look at the clock. */
#define system(command) BANNED(system, posix_spawn)
#define usleep(us)	BANNED(usleep, a_timer_or_clock_nanosleep)

#endif
