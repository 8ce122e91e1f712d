/* What a dump says of a collection beside its documents: the text of NAME.metadata.json, which archives carry too.
 *
 *   {"options": {...}, "indexes": [{...}, ...], "uuid": "...", "collectionName": "users", "type": "collection"}
 *
 * in Extended JSON v2. Everything but `indexes` may be absent.
 */
#ifndef ARGON_CLI_DUMP_METADATA_H
#define ARGON_CLI_DUMP_METADATA_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

struct dump_collection {
    const char *database;
    const char *name;
    const char *not_taken; /* why its documents are none of ours: "a view", "capped"; NULL: they are */
    const char *options;   /* names of options that mean something to MongoDB and nothing here; "" when there are none */
    const struct bytes *indexes;
    size_t n_indexes;
};

/* Fills in what the text says; database and name stay (the name is replaced when the text has the whole one and `replace_name`
 * is set). An empty text says nothing. All of it lives in the arena. DATA_LOSS: it is not understood. */
CHECKED bool metadata_parse(struct bytes text, bool replace_name, struct arena *arena, struct dump_collection *collection,
                            struct error *err);
/* What the options of a collection make of it. */
CHECKED bool metadata_judge_options(struct bytes options, struct arena *arena, struct dump_collection *collection, struct error *err);
/* Of a collection whose kind the name alone tells. */
void metadata_judge_name(struct dump_collection *collection);

/* Appends the text for a collection with these definitions; that of _id comes first. */
CHECKED bool metadata_format(const char *name, const struct bytes *indexes, size_t n, struct buffer *text, struct error *err);

#endif
