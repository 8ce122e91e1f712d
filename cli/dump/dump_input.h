/* The bytes of a dump's file, gzip or not, whichever it turns out to be; or of a piece of memory.
 *
 * Errors     DATA_LOSS with the file and the offset (of what gzip holds, when it is gzip): it is cut off, or damaged.
 *            NOT_FOUND, INTERNAL: it cannot be read.
 */
#ifndef ARGON_CLI_DUMP_INPUT_H
#define ARGON_CLI_DUMP_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

struct dump_input {
    const char *name; /* for errors; borrowed */
    void *gzip;       /* NULL: memory */
    struct bytes memory;
    uint64_t offset;      /* of the next byte */
    struct buffer buffer; /* of the document that was read last */
};

/* "-": standard input. */
CHECKED bool dump_input_open(struct dump_input *input, const char *path, struct error *err);
void dump_input_of_memory(struct dump_input *input, const char *name, struct bytes memory);
void dump_input_close(struct dump_input *input); /* fine on {0} */

/* Exactly len bytes. *end, when it is not NULL: there is not even one. */
CHECKED bool dump_input_read(struct dump_input *input, void *data, size_t len, bool *end, struct error *err);
/* All that is left, at most `limit`; valid until the next read. */
CHECKED bool dump_input_rest(struct dump_input *input, size_t limit, struct bytes *rest, struct error *err);

enum dump_item { DUMP_END, DUMP_DOCUMENT, DUMP_TERMINATOR };
/* The next document, checked and valid until the next read; or four bytes 0xff; or the end of the input. */
CHECKED bool dump_input_document(struct dump_input *input, enum dump_item *item, struct bytes *document, struct error *err);

/* "FILE, offset N: ..." with DATA_LOSS; false. */
bool dump_input_damaged(const struct dump_input *input, uint64_t offset, struct error *err, const char *format, ...) PRINTF_LIKE(4, 5);

#endif
