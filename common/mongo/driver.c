#include "common/mongo/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include <mongoc/mongoc.h>

/* The driver counts what it does in shared memory, a file /dev/shm/mongoc-PID, which its library makes when it is loaded: in
 * every program that is linked with it, before main and before the environment can be told otherwise. A process that is killed
 * leaves its file behind, and the next one with that id complains on stderr. So the driver gets memory that has no name: this
 * function stands before libc's, for a program's own symbols come first. */
int shm_open(const char *name, int flags, mode_t mode)
{
    static const char counters[] = "/mongoc-";
    if (strncmp(name, counters, sizeof counters - 1) == 0)
        return memfd_create("mongoc", MFD_CLOEXEC);
    int (*libc_shm_open)(const char *, int, mode_t) = (int (*)(const char *, int, mode_t))dlsym(RTLD_NEXT, "shm_open");
    return libc_shm_open(name, flags, mode);
}

static void start(void)
{
    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);
}

void mongo_driver_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
}
