/* How far a transfer is: on a terminal a line that is drawn again, elsewhere (when it is asked for) a line a second, on stderr. */
#ifndef ARGON_CLI_PROGRESS_H
#define ARGON_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool on_terminal, shows;
    int64_t started, shown;
};

void progress_begin(struct progress *progress, bool wanted);
/* Cheap to call for each document. */
void progress_show(struct progress *progress, const char *collection, uint64_t documents);
/* Before something else is said there. */
void progress_clear(const struct progress *progress);
void progress_end(struct progress *progress);

#endif
