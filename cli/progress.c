#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { TERMINAL_MICROS = MICROS_PER_SECOND / 10, LINE_MICROS = MICROS_PER_SECOND, DOCUMENTS_A_LOOK = 256 };

void progress_begin(struct progress *progress, bool wanted)
{
    bool on_terminal = isatty(STDERR_FILENO);
    *progress = (struct progress) { .on_terminal = on_terminal, .shows = on_terminal || wanted, .started = clock_monotonic_micros() };
    progress->shown = progress->started;
}

void progress_show(struct progress *progress, const char *collection, uint64_t documents)
{
    if (!progress->shows || documents % DOCUMENTS_A_LOOK != 0)
        return;
    int64_t now = clock_monotonic_micros();
    if (now - progress->shown < (progress->on_terminal ? TERMINAL_MICROS : LINE_MICROS))
        return;
    progress->shown = now;
    double seconds = (double)(now - progress->started) / MICROS_PER_SECOND;
    fprintf(stderr, "%s%s: %" PRIu64 " documents, %.0f/s%s", progress->on_terminal ? "\r\033[K" : "argon: ", collection, documents,
            (double)documents / seconds, progress->on_terminal ? "" : "\n");
    fflush(stderr);
}

void progress_clear(const struct progress *progress)
{
    if (progress->on_terminal && progress->shown != progress->started)
        fputs("\r\033[K", stderr);
}

void progress_end(struct progress *progress)
{
    progress_clear(progress);
    progress->shows = false;
}
