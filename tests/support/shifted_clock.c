/* For LD_PRELOAD: a program whose clock is CLOCK_OFFSET seconds off, as on a machine without NTP. Monotonic clocks,
 * by which waits are measured, go on as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    const char *offset = getenv("CLOCK_OFFSET");
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && offset) now->tv_sec += atol(offset);
    return result;
}
