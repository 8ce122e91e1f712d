/* A collection's name as mongodump puts it into the name of a file: percent-encoded bytes, cut where the file system would.
 * A name that was cut holds "%24" (a '$', which no collection's name has), and the whole one stands in the metadata.
 */
#ifndef ARGON_CLI_DUMP_FILE_NAME_H
#define ARGON_CLI_DUMP_FILE_NAME_H

#include <stdbool.h>

#include "common/base/arena.h"

enum { MAX_FILE_STEM = 238 }; /* ".metadata.json.gz" still fits behind it into 255 bytes */

/* NULL: out of memory, as for the next one. */
char *file_name_of_collection(const char *name, struct arena *arena);
/* *is_cut: it is only the beginning. What is no encoding is taken as it is, as older versions of mongodump wrote it. */
char *file_name_to_collection(const char *stem, size_t len, struct arena *arena, bool *is_cut);

#endif
