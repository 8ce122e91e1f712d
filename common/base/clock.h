/* The clocks. Wall time is for timestamps that people see; everything that waits uses monotonic time. */
#ifndef ARGON_BASE_CLOCK_H
#define ARGON_BASE_CLOCK_H

#include <stdint.h>

#define MICROS_PER_SECOND 1000000
#define NO_DEADLINE       INT64_MAX

uint64_t clock_wall_micros(void);     /* since the epoch */
int64_t clock_monotonic_micros(void); /* since some fixed point in the past */
int64_t clock_boot_micros(void);      /* the same, and it goes on while the machine sleeps */

#endif
