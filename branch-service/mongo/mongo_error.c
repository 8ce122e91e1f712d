#include "branch-service/mongo/mongo_internal.h"

#include <mongoc/mongoc.h>
#include <stdio.h>

#include "common/base/clock.h"

enum when { MOMENT, ALWAYS }; /* would the same request have been refused the same way a moment ago? */

struct server_code {
    int code;
    const char *name;
    enum error_code ours;
    enum when refused;
};

static const struct server_code server_codes[] = {
    /* the request is wrong */
    { 2, "BadValue", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 9, "FailedToParse", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 14, "TypeMismatch", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 28, "PathNotViable", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 40, "ConflictingUpdateOperators", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 52, "DollarPrefixedFieldName", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 53, "InvalidIdField", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 54, "NotSingleValueField", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 56, "EmptyFieldName", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 57, "DottedFieldName", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 66, "ImmutableField", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 67, "CannotCreateIndex", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 72, "InvalidOptions", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 73, "InvalidNamespace", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 168, "InvalidPipelineOperator", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 10334, "BSONObjectTooLarge", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 17419, "the updated document is too large", ERROR_INVALID_ARGUMENT, ALWAYS },
    { 17420, "the inserted document is too large", ERROR_INVALID_ARGUMENT, ALWAYS },

    /* what is there, or is not */
    { 26, "NamespaceNotFound", ERROR_NOT_FOUND, MOMENT },
    { 27, "IndexNotFound", ERROR_NOT_FOUND, MOMENT },
    { 48, "NamespaceExists", ERROR_ALREADY_EXISTS, MOMENT },
    { 11000, "DuplicateKey", ERROR_ALREADY_EXISTS, MOMENT },
    { 11001, "DuplicateKey", ERROR_ALREADY_EXISTS, MOMENT },
    { 12582, "DuplicateKey", ERROR_ALREADY_EXISTS, MOMENT },
    { 20, "IllegalOperation", ERROR_FAILED_PRECONDITION, MOMENT },
    { 85, "IndexOptionsConflict", ERROR_FAILED_PRECONDITION, MOMENT },
    { 86, "IndexKeySpecsConflict", ERROR_FAILED_PRECONDITION, MOMENT },
    { 121, "DocumentValidationFailure", ERROR_FAILED_PRECONDITION, MOMENT },
    { 166, "CommandNotSupportedOnView", ERROR_FAILED_PRECONDITION, MOMENT },
    { 171, "CannotIndexParallelArrays", ERROR_INVALID_ARGUMENT, MOMENT },

    /* our configuration, not the caller's doing */
    { 13, "Unauthorized", ERROR_FAILED_PRECONDITION, MOMENT },
    { 18, "AuthenticationFailed", ERROR_FAILED_PRECONDITION, MOMENT },
    { 59, "CommandNotFound", ERROR_UNIMPLEMENTED, MOMENT },
    { 115, "CommandNotSupported", ERROR_UNIMPLEMENTED, MOMENT },
    { 238, "NotImplemented", ERROR_UNIMPLEMENTED, MOMENT },

    /* other writers */
    { 24, "LockTimeout", ERROR_ABORTED, MOMENT },
    { 43, "CursorNotFound", ERROR_ABORTED, MOMENT },
    { 46, "LockBusy", ERROR_ABORTED, MOMENT },
    { 112, "WriteConflict", ERROR_ABORTED, MOMENT },
    { 117, "ConflictingOperationInProgress", ERROR_ABORTED, MOMENT },
    { 136, "CappedPositionLost", ERROR_ABORTED, MOMENT },
    { 175, "QueryPlanKilled", ERROR_ABORTED, MOMENT },
    { 239, "SnapshotTooOld", ERROR_ABORTED, MOMENT },
    { 246, "SnapshotUnavailable", ERROR_ABORTED, MOMENT },
    { 251, "NoSuchTransaction", ERROR_ABORTED, MOMENT },

    /* time, space, memory */
    { 50, "MaxTimeMSExpired", ERROR_DEADLINE_EXCEEDED, MOMENT },
    { 146, "ExceededMemoryLimit", ERROR_RESOURCE_EXHAUSTED, MOMENT },
    { 292, "QueryExceededMemoryLimitNoDiskUseAllowed", ERROR_RESOURCE_EXHAUSTED, MOMENT },
    { 14031, "OutOfDiskSpace", ERROR_RESOURCE_EXHAUSTED, MOMENT },

    /* not the primary, or not able to answer now */
    { 6, "HostUnreachable", ERROR_UNAVAILABLE, MOMENT },
    { 7, "HostNotFound", ERROR_UNAVAILABLE, MOMENT },
    { 64, "WriteConcernFailed", ERROR_UNAVAILABLE, MOMENT },
    { 79, "UnknownReplWriteConcern", ERROR_FAILED_PRECONDITION, MOMENT },
    { 89, "NetworkTimeout", ERROR_UNAVAILABLE, MOMENT },
    { 91, "ShutdownInProgress", ERROR_UNAVAILABLE, MOMENT },
    { 100, "UnsatisfiableWriteConcern", ERROR_UNAVAILABLE, MOMENT },
    { 134, "ReadConcernMajorityNotAvailableYet", ERROR_UNAVAILABLE, MOMENT },
    { 189, "PrimarySteppedDown", ERROR_UNAVAILABLE, MOMENT },
    { 262, "ExceededTimeLimit", ERROR_UNAVAILABLE, MOMENT },
    { 9001, "SocketException", ERROR_UNAVAILABLE, MOMENT },
    { 10058, "LegacyNotPrimary", ERROR_UNAVAILABLE, MOMENT },
    { 10107, "NotWritablePrimary", ERROR_UNAVAILABLE, MOMENT },
    { 11600, "InterruptedAtShutdown", ERROR_UNAVAILABLE, MOMENT },
    { 11601, "Interrupted", ERROR_UNAVAILABLE, MOMENT },
    { 11602, "InterruptedDueToReplStateChange", ERROR_UNAVAILABLE, MOMENT },
    { 13388, "StaleConfig", ERROR_UNAVAILABLE, MOMENT },
    { 13435, "NotPrimaryNoSecondaryOk", ERROR_UNAVAILABLE, MOMENT },
    { 13436, "NotPrimaryOrSecondary", ERROR_UNAVAILABLE, MOMENT },
};

static const struct server_code *find_code(int code)
{
    /* Five digits and no name is how MongoDB numbers the checks of one place in its code; what a client can
     * reach of them is what is wrong with the request. */
    static const struct server_code location = { 0, "Location", ERROR_INVALID_ARGUMENT, MOMENT };
    static const struct server_code other = { 0, "error", ERROR_UNKNOWN, MOMENT };
    for (size_t i = 0; i < ARRAY_LEN(server_codes); i++)
        if (server_codes[i].code == code)
            return &server_codes[i];
    return code >= 10000 ? &location : &other;
}

static const struct server_code *set_server_code(struct error *err, int code, const char *message)
{
    const struct server_code *row = find_code(code);
    if (code == 13 || code == 18)
        error_set(err, row->ours, "MongoDB does not let the user of the configured URI do this (%s, %d): %s", row->name, code, message);
    else
        error_set(err, row->ours, "MongoDB: %s (%s, %d)", message, row->name, code);
    if (err)
        err->mongo_code = code;
    return row;
}

void mongo_error_set_refused(struct error *err, int code, const char *message)
{
    const struct server_code *row = set_server_code(err, code, message);
    /* the document may be in its own way: a server that was killed may not know the second attempt for the first */
    if (err)
        err->outcome = row->refused == MOMENT && mongo_stream_writes_sent() > 1 ? OUTCOME_UNKNOWN : OUTCOME_NOT_APPLIED;
}

/* Both spellings: of a command, and of what the driver makes of several. */
static bool write_concern_failed(const bson_t *reply)
{
    bson_iter_t at;
    return reply && (bson_iter_init_find(&at, reply, "writeConcernError") || bson_iter_init_find(&at, reply, "writeConcernErrors"));
}

static bool document_refused(const bson_t *reply)
{
    bson_iter_t at, errors;
    return reply && bson_iter_init_find(&at, reply, "writeErrors") && bson_iter_recurse(&at, &errors) && bson_iter_next(&errors);
}

/* The driver rounds what is left down to milliseconds, and so gives up a little early. */
#define DEADLINE_SLACK_MICROS 5000

static void set_lost(struct error *err, const bson_error_t *failure, int64_t deadline)
{
    if (deadline != NO_DEADLINE && clock_monotonic_micros() >= deadline - DEADLINE_SLACK_MICROS)
        error_set(err, ERROR_DEADLINE_EXCEEDED, "MongoDB did not answer before the deadline");
    else
        error_set(err, ERROR_UNAVAILABLE, "the connection to MongoDB was lost: %s", failure->message);
}

void mongo_error_set(struct error *err, const bson_error_t *failure, const bson_t *reply, int64_t deadline, enum mongo_change change)
{
    const int code = (int)failure->code;
    const char *message = failure->message;
    bool definite = false;
    switch (failure->domain) {
    case MONGOC_ERROR_SERVER_SELECTION:
        /* selection under way when the password is refused reports it as its own failure */
        error_set(err, ERROR_UNAVAILABLE, "no MongoDB server that takes writes can be reached: %s", message);
        definite = true;
        break;
    case MONGOC_ERROR_CLIENT:
        if (code == MONGOC_ERROR_CLIENT_AUTHENTICATE) {
            error_set(err, ERROR_FAILED_PRECONDITION, "MongoDB refuses the user or the password of the configured URI");
            definite = true;
        } else {
            error_set(err, ERROR_INTERNAL, "MongoDB driver: %s", message);
        }
        break;
    case MONGOC_ERROR_SASL:
    case MONGOC_ERROR_SCRAM:
        error_set(err, ERROR_FAILED_PRECONDITION, "MongoDB refuses the user or the password of the configured URI");
        definite = true;
        break;
    case MONGOC_ERROR_STREAM:
        set_lost(err, failure, deadline);
        definite = code == MONGOC_ERROR_STREAM_CONNECT || code == MONGOC_ERROR_STREAM_NAME_RESOLUTION;
        break;
    case MONGOC_ERROR_SERVER:
    case MONGOC_ERROR_WRITE_CONCERN: {
        const struct server_code *row = set_server_code(err, code, message);
        definite = row->refused == ALWAYS || (document_refused(reply) && mongo_stream_writes_sent() < 2);
        break;
    }
    case MONGOC_ERROR_BSON: /* found before anything was sent: too large, or no document */
        error_set(err, ERROR_INVALID_ARGUMENT, "%s", message);
        definite = true;
        break;
    case MONGOC_ERROR_COMMAND:
    case MONGOC_ERROR_NAMESPACE:
    case MONGOC_ERROR_CURSOR:
        error_set(err, ERROR_INVALID_ARGUMENT, "%s", message);
        definite = failure->domain != MONGOC_ERROR_CURSOR;
        break;
    case MONGOC_ERROR_PROTOCOL:
        error_set(err, ERROR_UNAVAILABLE, "MongoDB's answer was not understood: %s", message);
        break;
    default:
        error_set(err, ERROR_INTERNAL, "MongoDB driver: %s (%d.%d)", message, (int)failure->domain, code);
        break;
    }
    /* Of many documents the first may have been changed when a later one is refused. Never sent is never sent. */
    bool sent = failure->domain == MONGOC_ERROR_SERVER || failure->domain == MONGOC_ERROR_WRITE_CONCERN;
    bool repeated = !sent && failure->domain != MONGOC_ERROR_BSON && mongo_stream_writes_sent() > 0;
    if (repeated || write_concern_failed(reply) || (change == MONGO_CHANGES_MANY && sent))
        definite = false;
    if (err)
        err->outcome = definite ? OUTCOME_NOT_APPLIED : OUTCOME_UNKNOWN;
}
