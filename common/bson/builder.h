/* Writes a BSON document front to back, as raw as it is read.
 *
 * Failures (memory, a size over the limit, nesting over MAX_NESTING) are remembered, what follows does
 * nothing, and builder_finish tells. The size is bounded while it grows, not at the end: a short update can
 * ask for a very long document.
 */
#ifndef ARGON_BSON_BUILDER_H
#define ARGON_BSON_BUILDER_H

#include <bson/bson.h>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/limits.h"
#include "common/bson/element.h"

struct builder {
    struct buffer buffer;
    size_t type_at; /* where the type of the value that comes next is filled in */
    size_t open[MAX_NESTING];
    unsigned depth;
    bool too_large, too_deep;
};

/* Begins with the top document open. */
void builder_init(struct builder *builder);
void builder_destroy(struct builder *builder);
/* Room for so many bytes more, so that it need not be found bit by bit. */
void builder_reserve(struct builder *builder, size_t more);

/* A field is a name, then one value (builder_value, or builder_begin ... builder_end). */
void builder_name(struct builder *builder, const char *name, size_t len);
void builder_index(struct builder *builder, uint32_t index); /* the name of an array element */
void builder_value(struct builder *builder, uint8_t type, struct bytes value);
void builder_begin(struct builder *builder, uint8_t type);
void builder_end(struct builder *builder);
/* A whole field, as it stands in another document. */
void builder_copy(struct builder *builder, const struct element *element);

/* Parts of a value, for those that are put together piece by piece. */
size_t builder_offset(const struct builder *builder);
void builder_raw(struct builder *builder, const void *data, size_t len);
void builder_insert(struct builder *builder, size_t at, const void *data, size_t len);
void builder_patch_u32(struct builder *builder, size_t at, uint32_t value);
void builder_set_type(struct builder *builder, size_t at, uint8_t type);
/* Opens a document that is no field's value by itself. */
void builder_begin_bare(struct builder *builder);

bool builder_failed(const struct builder *builder);
/* Says what failed: INVALID_ARGUMENT or RESOURCE_EXHAUSTED. False. */
bool builder_error(const struct builder *builder, struct error *err);
/* Closes the top document. The bytes belong to the builder. */
CHECKED bool builder_finish(struct builder *builder, struct bytes *document, struct error *err);
/* The same into a bson_t, which is initialised on success. */
CHECKED bool builder_finish_bson(struct builder *builder, bson_t *out, struct error *err);

/* A copy of a document. */
CHECKED bool bson_copy_bytes(struct bytes document, bson_t *out, struct error *err);

#endif
