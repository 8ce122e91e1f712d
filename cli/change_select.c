#include "cli/change_select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/change_stream.h"
#include "cli/when.h"
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/bson/ejson.h"
#include "common/bson/value_compare.h"

static struct {
    const char *collection;
    const char *document_id;
    const char *after_lsn; /* text: 0 is not the same as nothing */
    const char *since;
} options;

static const struct config_option rows[] = {
    { "collection", 'c', CONFIG_STRING, &options.collection, NULL, NULL, 0, 0, "COLLECTION", "of this collection only" },
    { "document-id", 0, CONFIG_STRING, &options.document_id, NULL, NULL, 0, 0, "JSON", "of the documents with this _id only" },
    { "after-lsn", 0, CONFIG_STRING, &options.after_lsn, NULL, NULL, 0, 0, "LSN", "all behind this LSN; 0: from the beginning" },
    { "since", 0, CONFIG_STRING, &options.since, NULL, NULL, 0, 0, "TIME", "all after this time: " WHEN_HELP },
};
const struct config_table change_select_options = { rows, ARRAY_LEN(rows), false };

static bool parse_lsn(const char *text, uint64_t *lsn, struct error *err)
{
    char *end;
    errno = 0;
    *lsn = strtoull(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9')
        return error_set(err, ERROR_INVALID_ARGUMENT, "option --after-lsn: '%s' is not a whole number", text);
    return true;
}

static bool parse_id(struct change_select *select, struct error *err)
{
    struct buffer text = { 0 };
    buffer_append(&text, "{\"_id\":", 7);
    buffer_append(&text, options.document_id, strlen(options.document_id));
    buffer_append_u8(&text, '}');
    bool ok = text.failed ? error_out_of_memory(err) : ejson_parse(buffer_bytes(&text), &select->id, err);
    buffer_destroy(&text);
    select->has_id = ok;
    return ok || error_wrap(err, "option --document-id: %s is not the JSON of an _id, such as 5 or '\"ada\"'", options.document_id);
}

bool change_select_init(struct change_select *select, struct cli *cli, Argon__Branch__V1__WatchRequest *request, struct error *err)
{
    *select = (struct change_select) { .has_begin = options.after_lsn[0] || options.since[0] };
    uint64_t time;
    if (options.after_lsn[0] && options.since[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "--after-lsn and --since exclude each other");
    if (!cli_project(cli, &request->project, err) || (options.after_lsn[0] && !parse_lsn(options.after_lsn, &request->after_lsn, err)))
        return false;
    request->branch = (char *)cli->options->branch;
    request->collection = (char *)options.collection;
    if (options.since[0] && !when_parse(options.since, clock_wall_micros(), &time, err))
        return error_wrap(err, "option --since");
    if (options.document_id[0] && !parse_id(select, err))
        return false;
    if (options.since[0] && !change_stream_find_lsn(cli, time, &request->after_lsn, err)) {
        change_select_destroy(select);
        return error_wrap(err, "option --since");
    }
    return true;
}

void change_select_destroy(struct change_select *select)
{
    if (select->has_id)
        bson_destroy(&select->id);
    select->has_id = false;
}

bool change_select_matches(const struct change_select *select, const Argon__Branch__V1__Change *change)
{
    bson_t id;
    bson_iter_t wanted, found;
    if (!select->has_id)
        return true;
    return change->document_id && bson_init_static(&id, change->document_id->bson.data, change->document_id->bson.len) &&
           bson_iter_init_find(&found, &id, "_id") && bson_iter_init_find(&wanted, &select->id, "_id") &&
           value_compare(&wanted, &found) == 0;
}
