/* What the disk can do at this minute: fdatasync after each 4 KiB written into a prepared file.
 *
 *   bench_disk DIRECTORY [SECONDS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include "bench/load.h"
#include "common/base/clock.h"

enum { BLOCK = 4096, BLOCKS = 8192, MOST = 1 << 20 };

int main(int argc, char **argv)
{
    static uint8_t block[BLOCK];
    static uint32_t micros[MOST];
    char path[4096];
    size_t n = 0;
    if (argc < 2)
        return fprintf(stderr, "usage: bench_disk DIRECTORY [SECONDS]\n"), 2;
    snprintf(path, sizeof path, "%s/bench_disk.tmp", argv[1]);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int i = 0; i < BLOCKS && fd >= 0; i++)
        if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) != BLOCK)
            return perror(path), 1;
    if (fd < 0 || unlink(path) != 0 || fsync(fd) != 0)
        return perror(path), 1;
    int64_t end = clock_monotonic_micros() + (int64_t)((argc > 2 ? strtod(argv[2], NULL) : 2) * MICROS_PER_SECOND);
    memset(block, 1, sizeof block);
    for (int64_t began; n < MOST && (began = clock_monotonic_micros()) < end; n++) {
        if (pwrite(fd, block, BLOCK, (off_t)(n % BLOCKS) * BLOCK) != BLOCK || fdatasync(fd) != 0)
            return perror(path), 1;
        micros[n] = (uint32_t)(clock_monotonic_micros() - began);
    }
    struct load_result result = { 0 };
    load_percentiles(micros, n, &result);
    printf("{\"bench\":\"fdatasync\",\"calls\":%zu,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n", n, result.p50, result.p99,
           result.max);
    close(fd);
    return 0;
}
