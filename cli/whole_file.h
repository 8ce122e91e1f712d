/* A file that is there whole or not at all: written under a temporary name beside it, then renamed. What
 * stands under the name stays until then. A device or pipe is written as it is.
 */
#ifndef ARGON_CLI_WHOLE_FILE_H
#define ARGON_CLI_WHOLE_FILE_H

#include <stdio.h>

#include "common/base/error.h"

struct whole_file {
    FILE *stream;
    char *path;      /* links followed */
    char *temporary; /* NULL: written in place */
};

/* Private: mode 0600, whatever stood there before. */
CHECKED bool whole_file_open(struct whole_file *file, const char *path, bool is_private, struct error *err);
/* Either ends it. After commit the file survives a power cut. */
CHECKED bool whole_file_commit(struct whole_file *file, struct error *err);
void whole_file_abandon(struct whole_file *file);
/* Of a program that ends at once, on any thread: leaves nothing on the disk, and touches nothing else. */
void whole_file_unlink(const struct whole_file *file);

#endif
