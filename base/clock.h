/* Monotonic time for everything that waits; wall time only for what goes into messages. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

int64_t clock_mono_us(void); /* CLOCK_MONOTONIC in microseconds */
int64_t clock_wall_us(void); /* Unix time in microseconds */

#endif
