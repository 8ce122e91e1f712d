#include "common/service/process_metrics.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"

struct sample {
    const char *service;
    uint64_t cpu_micros, start_micros, resident, virtual_bytes, open_files, max_files, threads;
};

static void write_build(struct buffer *out, const struct metric *metric, const void *ctx)
{
    const struct sample *sample = ctx;
    char labels[128];
    snprintf(labels, sizeof labels, "service=\"%s\",version=\"%s\"", sample->service, ARGON_VERSION);
    metrics_write_value(out, metric, labels, 1);
}

#define ROW(name, type, unit, field, help)                                                                                                 \
    {                                                                                                                                      \
        (name), (type), (unit), (help), offsetof(struct sample, field), NULL, NULL                                                         \
    }
static const struct metric rows[] = {
    { "argon_build_info", METRIC_GAUGE, METRIC_NUMBER, "1; which build this is", 0, "service, version", write_build },
    ROW("process_cpu_seconds_total", METRIC_COUNTER, METRIC_MICROS, cpu_micros, "user and system CPU time spent"),
    ROW("process_resident_memory_bytes", METRIC_GAUGE, METRIC_NUMBER, resident, "resident memory"),
    ROW("process_virtual_memory_bytes", METRIC_GAUGE, METRIC_NUMBER, virtual_bytes, "virtual memory"),
    ROW("process_open_fds", METRIC_GAUGE, METRIC_NUMBER, open_files, "open file descriptors"),
    ROW("process_max_fds", METRIC_GAUGE, METRIC_NUMBER, max_files, "the limit of open file descriptors"),
    ROW("process_threads", METRIC_GAUGE, METRIC_NUMBER, threads, "threads"),
    ROW("process_start_time_seconds", METRIC_GAUGE, METRIC_MICROS, start_micros, "when the process started, since the epoch"),
};
const struct metric_table process_metrics = { rows, ARRAY_LEN(rows) };

static uint64_t count_entries(const char *path)
{
    uint64_t n = 0;
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory))
        n += entry->d_name[0] != '.';
    closedir(directory);
    return n;
}

static void read_memory(struct sample *sample)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long pages, resident, page = (unsigned long)sysconf(_SC_PAGESIZE);
    if (!file)
        return;
    if (fscanf(file, "%lu %lu", &pages, &resident) == 2) {
        sample->virtual_bytes = (uint64_t)pages * page;
        sample->resident = (uint64_t)resident * page;
    }
    fclose(file);
}

/* Ticks of the 22nd field count from the boot, like the boot clock; behind the name, which may hold anything. */
static uint64_t read_start(void)
{
    char line[1024], *field;
    FILE *file = fopen("/proc/self/stat", "re");
    uint64_t ticks = 0, ticks_a_second = (uint64_t)sysconf(_SC_CLK_TCK);
    if (!file)
        return 0;
    size_t len = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[len] = '\0';
    field = strrchr(line, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    if (field)
        ticks = strtoull(field, NULL, 10);
    uint64_t age = (uint64_t)clock_boot_micros() - ticks * 1000000 / ticks_a_second;
    return clock_wall_micros() - age;
}

static uint64_t micros(struct timeval time)
{
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

void process_metrics_write(const char *service, struct buffer *out)
{
    struct sample sample = { .service = service };
    struct rusage usage;
    struct rlimit files;
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        sample.cpu_micros = micros(usage.ru_utime) + micros(usage.ru_stime);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        sample.max_files = files.rlim_cur;
    sample.open_files = count_entries("/proc/self/fd");
    sample.threads = count_entries("/proc/self/task");
    sample.start_micros = read_start();
    read_memory(&sample);
    metrics_write(out, &process_metrics, &sample);
}
