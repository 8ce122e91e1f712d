/* A file that is there whole or not at all: written under a temporary name beside it, then renamed. What
 * stands under the name stays until then. A device or pipe is written as it is.
 */
#ifndef ARGON_CLI_EXPORT_FILE_H
#define ARGON_CLI_EXPORT_FILE_H

#include <stdio.h>

#include "common/base/error.h"

struct export_file {
    FILE *stream;
    char *path;      /* links followed */
    char *temporary; /* NULL: written in place */
};

CHECKED bool export_file_open(struct export_file *file, const char *path, struct error *err);
/* Either ends it. After commit the file survives a power cut. */
CHECKED bool export_file_commit(struct export_file *file, struct error *err);
void export_file_abandon(struct export_file *file);

#endif
