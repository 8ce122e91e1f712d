#include "branch-service/query/query_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/bson/utf8.h"

static const struct code_name {
    int code;
    const char *name;
    enum error_code means;
} code_names[] = {
    { MONGO_BAD_VALUE, "BadValue", ERROR_INVALID_ARGUMENT },
    { MONGO_FAILED_TO_PARSE, "FailedToParse", ERROR_INVALID_ARGUMENT },
    { MONGO_TYPE_MISMATCH, "TypeMismatch", ERROR_INVALID_ARGUMENT },
    { MONGO_OVERFLOW, "Overflow", ERROR_INVALID_ARGUMENT },
    { MONGO_INVALID_LENGTH, "InvalidLength", ERROR_INVALID_ARGUMENT },
    { MONGO_PATH_NOT_VIABLE, "PathNotViable", ERROR_INVALID_ARGUMENT },
    { MONGO_CANNOT_BACKFILL_ARRAY, "CannotBackfillArray", ERROR_INVALID_ARGUMENT },
    { MONGO_CONFLICTING_UPDATE_OPERATORS, "ConflictingUpdateOperators", ERROR_INVALID_ARGUMENT },
    { MONGO_MAX_TIME_EXPIRED, "MaxTimeMSExpired", ERROR_DEADLINE_EXCEEDED },
    { MONGO_DOLLAR_PREFIXED_FIELD_NAME, "DollarPrefixedFieldName", ERROR_INVALID_ARGUMENT },
    { MONGO_INVALID_ID_FIELD, "InvalidIdField", ERROR_INVALID_ARGUMENT },
    { MONGO_NOT_SINGLE_VALUE_FIELD, "NotSingleValueField", ERROR_INVALID_ARGUMENT },
    { MONGO_INVALID_DBREF, "InvalidDBRef", ERROR_INVALID_ARGUMENT },
    { MONGO_EMPTY_FIELD_NAME, "EmptyFieldName", ERROR_INVALID_ARGUMENT },
    { MONGO_DOTTED_FIELD_NAME, "DottedFieldName", ERROR_INVALID_ARGUMENT },
    { MONGO_IMMUTABLE_FIELD, "ImmutableField", ERROR_INVALID_ARGUMENT },
    { MONGO_NOT_EXACT_VALUE_FIELD, "NotExactValueField", ERROR_INVALID_ARGUMENT },
    { MONGO_INVALID_OPTIONS, "InvalidOptions", ERROR_INVALID_ARGUMENT },
    { MONGO_COMMAND_NOT_SUPPORTED, "CommandNotSupported", ERROR_INVALID_ARGUMENT },
    { MONGO_EXCEEDED_MEMORY_LIMIT, "ExceededMemoryLimit", ERROR_RESOURCE_EXHAUSTED },
    { MONGO_INVALID_PIPELINE_OPERATOR, "InvalidPipelineOperator", ERROR_INVALID_ARGUMENT },
    { MONGO_QUERY_FEATURE_NOT_ALLOWED, "QueryFeatureNotAllowed", ERROR_INVALID_ARGUMENT },
    { MONGO_CONVERSION_FAILURE, "ConversionFailure", ERROR_INVALID_ARGUMENT },
    { MONGO_QUERY_EXCEEDED_MEMORY_LIMIT, "QueryExceededMemoryLimitNoDiskUseAllowed", ERROR_RESOURCE_EXHAUSTED },
    { MONGO_BSON_OBJECT_TOO_LARGE, "BSONObjectTooLarge", ERROR_INVALID_ARGUMENT },
    { MONGO_DUPLICATE_KEY, "DuplicateKey", ERROR_ALREADY_EXISTS },
};

static const char tail_begins[] = " (code ";

static const char *tail_of(const struct error *err)
{
    const char *tail = NULL;
    for (const char *at = err->message; (at = strstr(at, tail_begins)); at++)
        tail = at;
    return tail;
}

/* The text in front of the tail, cut to leave it room. */
static void compose(struct error *err, const char *text, const char *tail)
{
    size_t room = sizeof err->message - 1 - strlen(tail);
    int kept = utf8_fit(text, strlen(text), room);
    snprintf(err->message, sizeof err->message, "%.*s%s", kept, text, tail);
}

void query_error_fill(struct error *err, int mongo_code, const char *format, ...)
{
    if (!err)
        return;
    char text[sizeof err->message], tail[80];
    enum error_code means = ERROR_INVALID_ARGUMENT;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(tail, sizeof tail, "%s%d, Location%d)", tail_begins, mongo_code, mongo_code);
    for (size_t i = 0; i < ARRAY_LEN(code_names); i++) {
        if (code_names[i].code == mongo_code) {
            snprintf(tail, sizeof tail, "%s%d, %s)", tail_begins, mongo_code, code_names[i].name);
            means = code_names[i].means;
        }
    }
    error_fill(err, means, "%s", "");
    err->mongo_code = mongo_code;
    compose(err, text, tail);
}

void query_error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return;
    char context[sizeof err->message], text[2 * sizeof err->message + 2], tail[sizeof err->message] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(context, sizeof context, format, args);
    va_end(args);
    char *end = (char *)tail_of(err);
    if (end) {
        memcpy(tail, end, strlen(end) + 1);
        *end = '\0';
    }
    snprintf(text, sizeof text, "%s: %s", context, err->message);
    compose(err, text, tail);
}

int query_error_code(const struct error *err)
{
    return err->mongo_code;
}
