/* Errors of queries carry MongoDB's code, for drivers and people who know it by number:
 * "filter on 'a': $in needs an array (code 2, BadValue)".
 *
 * Use query_error where error_set would be used, and query_wrap in place of error_wrap: it keeps the code when
 * the message is cut.
 */
#ifndef ARGON_BRANCH_QUERY_QUERY_ERROR_H
#define ARGON_BRANCH_QUERY_QUERY_ERROR_H

#include "common/base/error.h"

/* Those with a name. Others are MongoDB's "locations", whose numbers are used as they are. */
enum mongo_code {
    MONGO_BAD_VALUE = 2,
    MONGO_FAILED_TO_PARSE = 9,
    MONGO_TYPE_MISMATCH = 14,
    MONGO_OVERFLOW = 15,
    MONGO_INVALID_LENGTH = 16,
    MONGO_PATH_NOT_VIABLE = 28,
    MONGO_CANNOT_BACKFILL_ARRAY = 34,
    MONGO_CONFLICTING_UPDATE_OPERATORS = 40,
    MONGO_MAX_TIME_EXPIRED = 50,
    MONGO_DOLLAR_PREFIXED_FIELD_NAME = 52,
    MONGO_INVALID_ID_FIELD = 53,
    MONGO_NOT_SINGLE_VALUE_FIELD = 54,
    MONGO_INVALID_DBREF = 55,
    MONGO_EMPTY_FIELD_NAME = 56,
    MONGO_DOTTED_FIELD_NAME = 57,
    MONGO_IMMUTABLE_FIELD = 66,
    MONGO_INVALID_OPTIONS = 72,
    MONGO_NOT_EXACT_VALUE_FIELD = 111,
    MONGO_COMMAND_NOT_SUPPORTED = 115,
    MONGO_EXCEEDED_MEMORY_LIMIT = 146,
    MONGO_INVALID_PIPELINE_OPERATOR = 168,
    MONGO_QUERY_FEATURE_NOT_ALLOWED = 224,
    MONGO_CONVERSION_FAILURE = 241,
    MONGO_QUERY_EXCEEDED_MEMORY_LIMIT = 292,
    MONGO_BSON_OBJECT_TOO_LARGE = 10334,
    MONGO_DUPLICATE_KEY = 11000,
};

/* query_error(err, code, format, ...): false, as error_set. INVALID_ARGUMENT, but for exceeded memory
 * (RESOURCE_EXHAUSTED), time (DEADLINE_EXCEEDED) and duplicate keys (ALREADY_EXISTS). */
#define query_error(err, ...) (query_error_fill((err), __VA_ARGS__), error_false())
#define query_wrap(err, ...)  (query_error_prefix((err), __VA_ARGS__), error_false())

void query_error_fill(struct error *err, int mongo_code, const char *format, ...) PRINTF_LIKE(3, 4);
void query_error_prefix(struct error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* 0: the error carries none. */
int query_error_code(const struct error *err);

#endif
