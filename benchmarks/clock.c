/* Moves the wall clock of the processes that it is loaded into (LD_PRELOAD), by the nanoseconds in a file that they map
   (CHAOS_CLOCK). Monotonic clocks and timers stay as they are, as when the clock of a machine is set. */

#define _GNU_SOURCE
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <dlfcn.h>

#define SECOND 1000000000LL

static const volatile int64_t *offset;
static int (*real_gettime)(clockid_t, struct timespec *);
static int (*real_timedwait)(sem_t *, const struct timespec *);

__attribute__((constructor)) static void prepare(void)
{
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_timedwait = dlsym(RTLD_NEXT, "sem_timedwait");
    const char *path = getenv("CHAOS_CLOCK");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        offset = mapped;
}

static void move(struct timespec *instant, int64_t by)
{
    int64_t nanoseconds = instant->tv_sec * SECOND + instant->tv_nsec + by;
    instant->tv_sec = nanoseconds / SECOND;
    instant->tv_nsec = nanoseconds % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = real_gettime != NULL ? real_gettime(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
    if (failed == 0 && offset != NULL && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        move(now, *offset);
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec instant;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &instant) != 0)
        return -1;
    now->tv_sec = instant.tv_sec;
    now->tv_usec = instant.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result)
{
    struct timespec instant;
    if (clock_gettime(CLOCK_REALTIME, &instant) != 0)
        return (time_t)-1;
    if (result != NULL)
        *result = instant.tv_sec;
    return instant.tv_sec;
}

/* Its deadline is a time of the wall clock. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline)
{
    struct timespec real = *deadline;
    if (offset != NULL)
        move(&real, -*offset);
    return real_timedwait(semaphore, &real);
}
