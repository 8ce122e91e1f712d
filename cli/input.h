/* Documents from a file or pipe, one at a time: NDJSON (or any sequence of JSON objects) or one JSON array
 * of objects, whichever it turns out to be.
 *
 * Only the ends of the objects are looked for here; what is between is left to the parser. Memory is that
 * of the longest document's text, at most INPUT_MAX_TEXT.
 *
 * Errors     INVALID_ARGUMENT with the line of what is wrong; RESOURCE_EXHAUSTED; INTERNAL or NOT_FOUND
 *            with the reason why the file cannot be read.
 */
#ifndef ARGON_CLI_INPUT_H
#define ARGON_CLI_INPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/limits.h"

/* The text of 16 MiB of BSON can be longer: "\u0000" for a byte, {"$numberInt":"1"} for four. */
enum { INPUT_MAX_TEXT = 8 * MAX_DOCUMENT_BYTES };

struct input;

struct input_place {
    uint64_t line;   /* from 1 */
    uint64_t offset; /* bytes, from 0 */
    uint64_t digest; /* of all bytes before it; only from input_place */
};

/* "-": standard input. */
CHECKED bool input_open(const char *path, struct input **input, struct error *err);
/* The descriptor is borrowed. */
struct input *input_of_descriptor(int fd);
void input_close(struct input *input); /* NULL is fine */

/* The next object and where it begins; the text is valid until the next call. At the end text->data is
 * NULL. After an error there is nothing more to be had. */
CHECKED bool input_next(struct input *input, struct bytes *text, struct input_place *place, struct error *err);

/* Passes over all documents before a place that input_place told of the same input in another run. FAILED_PRECONDITION
 * when what stands before it is not the same any more. */
CHECKED bool input_skip_to(struct input *input, struct input_place place, struct error *err);

/* How far the reading has come. */
struct input_place input_place(const struct input *input);
/* 0 when it is not known, as for a pipe. */
uint64_t input_size(const struct input *input);

#endif
