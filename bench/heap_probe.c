/* Loaded into a service (LD_PRELOAD) by the soak test: writes once a second how many bytes the program holds of tcmalloc, which is
 * what a leak would make grow; what the process holds also has the allocator's own caches and fragments in it.
 *
 * HEAP_PROBE names the file.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <gperftools/malloc_extension_c.h>

static void *watch(void *path)
{
    for (;;) {
        size_t bytes = 0;
        FILE *file = fopen(path, "a"); /* lines: who reads never sees half a number in the last whole one */
        if (file && MallocExtension_GetNumericProperty("generic.current_allocated_bytes", &bytes))
            fprintf(file, "%zu\n", bytes);
        if (file)
            fclose(file);
        nanosleep(&(struct timespec) { .tv_sec = 1 }, NULL);
    }
    return NULL;
}

__attribute__((constructor)) static void begin(void)
{
    sigset_t all, before;
    pthread_t thread;
    char *path = getenv("HEAP_PROBE");
    if (!path)
        return;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_create(&thread, NULL, watch, path);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
