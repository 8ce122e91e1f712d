#include "cli/docs_read.h"

#include <inttypes.h>
#include <string.h>

#include "cli/find_stream.h"
#include "cli/read_state.h"
#include "common/bson/ejson.h"

static struct {
    uint64_t skip;
    uint64_t limit;
    const char *sort;
    const char *projection;
    const char *let;
    const char *hint;
    bool estimated;
} options;

/* clang-format off */
#define LET   { "let", 0, CONFIG_STRING, &options.let, "", NULL, 0, 0, "JSON", "variables, for $expr and expressions as $$name" }
#define HINT  { "hint", 0, CONFIG_STRING, &options.hint, "", NULL, 0, 0, "NAME|JSON", "the index that MongoDB goes by, its name or its keys; a WAL branch needs none" }
#define SKIP  { "skip", 0, CONFIG_UINT, &options.skip, NULL, NULL, 0, 0, "N", "pass over the first N" }
#define LIMIT { "limit", 0, CONFIG_UINT, &options.limit, NULL, NULL, 0, 0, "N", "at most N; 0: all" }
/* clang-format on */

const struct config_option docs_find_options[DOCS_N_FIND_OPTIONS] = {
    { "sort", 0, CONFIG_STRING, &options.sort, "", NULL, 0, 0, "JSON", "in this order: {\"age\": -1, \"name\": 1}" },
    { "projection", 0, CONFIG_STRING, &options.projection, "", NULL, 0, 0, "JSON", "only these fields: {\"name\": 1}" },
    LET,
    HINT,
    SKIP,
    LIMIT,
};
const struct config_option docs_count_options[DOCS_N_COUNT_OPTIONS] = {
    LET,
    HINT,
    SKIP,
    LIMIT,
    { "estimated", 0, CONFIG_BOOL, &options.estimated, NULL, NULL, 0, 0, NULL, "all of the collection, without looking at a document" },
};
const struct config_option docs_aggregate_options[DOCS_N_AGGREGATE_OPTIONS] = { LET, HINT };
const struct config_option docs_distinct_options[DOCS_N_DISTINCT_OPTIONS] = { HINT };

/* What the messages of a query point to. */
struct query {
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__ReadOptions read;
    Argon__Branch__V1__QueryOptions options;
    Argon__Branch__V1__Document let, filter, sort, projection;
};

static bool fill_query(struct cli *cli, struct query *query, struct error *err)
{
    query->options = (Argon__Branch__V1__QueryOptions)ARGON__BRANCH__V1__QUERY_OPTIONS__INIT;
    if (!cli_target(cli, cli->args[0], &query->target, err) || !read_state_fill(cli, &query->read, err) ||
        !cli_hint(cli, options.hint, &query->options, err))
        return false;
    if (!options.let || !options.let[0]) /* distinct has none */
        return true;
    query->options.let = &query->let;
    return cli_document(cli, "--let", options.let, &query->let, err);
}

/* Text that is not there leaves the field alone. */
static bool fill_document(struct cli *cli, const char *what, const char *text, Argon__Branch__V1__Document *document,
                          Argon__Branch__V1__Document **field, struct error *err)
{
    if (!text || !text[0])
        return true;
    *field = document;
    return cli_document(cli, what, text, document, err);
}

static const char *argument(const struct cli *cli, size_t index)
{
    return cli->n_args > index ? cli->args[index] : NULL;
}

static bool fill_find(struct cli *cli, struct query *query, Argon__Branch__V1__FindRequest *request, struct error *err)
{
    *request = (Argon__Branch__V1__FindRequest)ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    if (!fill_query(cli, query, err) || !fill_document(cli, "FILTER", argument(cli, 1), &query->filter, &request->filter, err) ||
        !fill_document(cli, "--sort", options.sort, &query->sort, &request->sort, err) ||
        !fill_document(cli, "--projection", options.projection, &query->projection, &request->projection, err))
        return false;
    request->target = &query->target;
    request->read = &query->read;
    request->options = &query->options;
    request->skip = options.skip;
    request->limit = options.limit;
    return true;
}

static bool fill_aggregate(struct cli *cli, struct query *query, Argon__Branch__V1__AggregateRequest *request, struct error *err)
{
    *request = (Argon__Branch__V1__AggregateRequest)ARGON__BRANCH__V1__AGGREGATE_REQUEST__INIT;
    if (!fill_query(cli, query, err) || !cli_documents(cli, "PIPELINE", cli->args[1], &request->pipeline, &request->n_pipeline, err))
        return false;
    request->target = &query->target;
    request->read = &query->read;
    request->options = &query->options;
    return true;
}

bool docs_find(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__FindRequest request;
    struct query query;
    uint64_t lsn;
    return fill_find(cli, &query, &request, err) && find_stream_print(cli, BRANCH_METHOD("Documents", "Find"), &request.base, &query.target,
                                                                      query.read.stale_ok, &cli->out, &lsn, err);
}

bool docs_aggregate(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__AggregateRequest request;
    struct query query;
    uint64_t lsn;
    return fill_aggregate(cli, &query, &request, err) && find_stream_print(cli, BRANCH_METHOD("Documents", "Aggregate"), &request.base,
                                                                           &query.target, query.read.stale_ok, &cli->out, &lsn, err);
}

/* Of Count or EstimatedCount. */
static bool print_count(struct cli *cli, const char *method, const ProtobufCMessage *request, struct error *err)
{
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, method, request, &argon__branch__v1__count_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__CountResponse *response = (const void *)message;
    const struct field fields[] = { FIELD_U64("count", response->count), FIELD_U64("lsn", response->lsn) };
    char sentence[32];
    snprintf(sentence, sizeof sentence, "%" PRIu64, response->count);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool estimate_count(struct cli *cli, struct query *query, struct error *err)
{
    Argon__Branch__V1__EstimatedCountRequest request = ARGON__BRANCH__V1__ESTIMATED_COUNT_REQUEST__INIT;
    if (cli->n_args > 1 || options.let[0] || options.hint[0] || options.skip || options.limit)
        return error_set(err, ERROR_INVALID_ARGUMENT,
                         "--estimated is of all documents: it takes no FILTER, --let, --hint, --skip and --limit");
    request.target = &query->target;
    request.read = &query->read;
    return print_count(cli, BRANCH_METHOD("Documents", "EstimatedCount"), &request.base, err);
}

bool docs_count(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__CountRequest request = ARGON__BRANCH__V1__COUNT_REQUEST__INIT;
    struct query query;
    if (!fill_query(cli, &query, err))
        return false;
    if (options.estimated)
        return estimate_count(cli, &query, err);
    if (!fill_document(cli, "FILTER", argument(cli, 1), &query.filter, &request.filter, err))
        return false;
    request.target = &query.target;
    request.read = &query.read;
    request.options = &query.options;
    request.skip = options.skip;
    request.limit = options.limit;
    return print_count(cli, BRANCH_METHOD("Documents", "Count"), &request.base, err);
}

/* The array out of {"values":[...]}, as text with its NUL. */
static bool format_values(const Argon__Branch__V1__DistinctResponse *response, enum ejson_style style, struct buffer *text,
                          struct error *err)
{
    static const char before[] = "{\"values\":";
    if (!response->values)
        return error_set(err, ERROR_INTERNAL, "the answer holds no values");
    if (!ejson_format(bytes_of(response->values->bson.data, response->values->bson.len), style, text, err))
        return false;
    if (text->failed || text->len < sizeof before || memcmp(text->data, before, sizeof before - 1) != 0)
        return error_set(err, ERROR_INTERNAL, "the answer holds no values");
    memmove(text->data, text->data + sizeof before - 1, text->len - (sizeof before - 1));
    text->len -= sizeof before - 1;
    text->data[text->len - 1] = '\0'; /* the brace */
    return true;
}

bool docs_distinct(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__DistinctRequest request = ARGON__BRANCH__V1__DISTINCT_REQUEST__INIT;
    struct query query;
    struct buffer text = { 0 };
    if (!fill_query(cli, &query, err) || !fill_document(cli, "FILTER", argument(cli, 2), &query.filter, &request.filter, err))
        return false;
    request.target = &query.target;
    request.read = &query.read;
    request.options = &query.options;
    request.field = (char *)cli->args[1];
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Documents", "Distinct"), &request.base,
                         &argon__branch__v1__distinct_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__DistinctResponse *response = (const void *)message;
    bool ok = format_values(response, cli->out.style, &text, err);
    if (ok) {
        const struct field fields[] = { FIELD_JSON("values", (const char *)text.data), FIELD_U64("lsn", response->lsn) };
        output_result(&cli->out, (const char *)text.data, fields, ARRAY_LEN(fields));
    }
    buffer_destroy(&text);
    return ok;
}

/* ---- explain ---------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *words;
} accesses[] = {
    { "NOTHING", "there is no such collection" },
    { "ID_LOOKUP", "one _id" },
    { "ID_RANGES", "ranges of _id" },
    { "SCAN", "the whole collection" },
    { "INDEX", "an index" },
}, orders[] = {
    { "NONE", "" },
    { "ID", ", ordered by _id" },
    { "SORTED", ", sorted in memory" },
    { "INDEX", ", ordered by it" },
};

bool docs_explain(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ExplainRequest request = ARGON__BRANCH__V1__EXPLAIN_REQUEST__INIT;
    Argon__Branch__V1__FindRequest find;
    Argon__Branch__V1__AggregateRequest aggregate;
    struct query query;
    const char *spec = argument(cli, 1);
    if (spec && spec[strspn(spec, " \t\r\n")] == '[') {
        if (options.sort[0] || options.projection[0] || options.skip || options.limit)
            return error_set(err, ERROR_INVALID_ARGUMENT, "--sort, --projection, --skip and --limit are stages of a pipeline");
        request.aggregate = &aggregate;
        if (!fill_aggregate(cli, &query, &aggregate, err))
            return false;
    } else {
        request.find = &find;
        if (!fill_find(cli, &query, &find, err))
            return false;
    }
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Documents", "Explain"), &request.base,
                         &argon__branch__v1__explain_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__ExplainResponse *response = (const void *)message;
    if ((size_t)response->access >= ARRAY_LEN(accesses) || (size_t)response->order >= ARRAY_LEN(orders))
        return error_set(err, ERROR_INTERNAL, "the answer is that of a newer version");
    const struct field fields[] = { FIELD_STRING("access", accesses[response->access].name),
                                    FIELD_U64("ranges", response->ranges),
                                    FIELD_U64("examined", response->examined),
                                    FIELD_U64("returned", response->returned),
                                    FIELD_STRING("order", orders[response->order].name),
                                    FIELD_STRING("indexes", response->indexes),
                                    FIELD_U64("lsn", response->lsn) };
    char sentence[600], count[24] = "", indexes[300] = "";
    const char *words = accesses[response->access].words;
    if (response->access == ARGON__BRANCH__V1__ACCESS__ACCESS_ID_RANGES && response->ranges == 1)
        words = "a range of _id";
    else if (response->access == ARGON__BRANCH__V1__ACCESS__ACCESS_ID_RANGES && response->ranges)
        snprintf(count, sizeof count, "%" PRIu64 " ", response->ranges);
    if (response->access == ARGON__BRANCH__V1__ACCESS__ACCESS_INDEX)
        snprintf(indexes, sizeof indexes, " (%s)", response->indexes);
    snprintf(sentence, sizeof sentence, "Through %s%s%s%s: %" PRIu64 " looked at, %" PRIu64 " returned.", count, words, indexes,
             orders[response->order].words, response->examined, response->returned);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}
