/* The catalog's records: BSON documents on the log, and the structs that they are here.
 *
 *   project `_system`   log branch _catalog   projects      {_id: name, id, created_at}
 *                                             config        {_id: key, value}    features.h
 *   every project       log branch _catalog   project       {_id: "project", deleted_at, request, hash, since}    the tombstone
 *                                             branches      {_id: branch id, name, parent, cut, base, created_at, deleted}
 *                                             and of a traditional one {kind: "traditional", database, prefix, state, epoch,
 *                                               migration}    migration.h
 *                                             of a WAL branch whose writers are held {kind: "held"}
 *                                             of a base {kind: "base", source, database, prefix, copied, complete, isolated}
 *                                             names         {_id: name, branch}
 *                                             _requests     {_id: request id}   outcomes without effect
 *   every branch        its log branch        _collections  {_id: name, id, created_at, indexes}
 *
 * Names are the _id of a document, so they are unique by the conflict check. A branch's log branch has the
 * branch's id; "main" has no record: it is there from LSN 0.
 *
 * Ownership  a decoded record's strings are borrowed from the document, an encoded one lives in the arena.
 * Errors     DATA_LOSS: a record that is not as it was written.
 */
#ifndef ARGON_BRANCH_CATALOG_CATALOG_H
#define ARGON_BRANCH_CATALOG_CATALOG_H

#include <stdint.h>

#include "branch-service/log/log_source.h"
#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/limits.h"

#define SYSTEM_PROJECT         "_system"
#define CATALOG_BRANCH         "_catalog"
#define PROJECTS_COLLECTION    "projects"
#define CONFIG_COLLECTION      "config"
#define PROJECT_COLLECTION     "project"
#define PROJECT_RECORD         "project"
#define BRANCHES_COLLECTION    "branches"
#define NAMES_COLLECTION       "names"
#define REQUESTS_COLLECTION    "_requests"
#define COLLECTIONS_COLLECTION "_collections"
#define MAIN_BRANCH            "main"

struct project_record {
    const char *name;
    const char *id;
    uint64_t created_at; /* microseconds since the epoch */
};

/* Whoever removes the name of a deleted project does it under the request that deleted it, so that this one
 * gets its answer when it comes again. */
struct project_tombstone {
    uint64_t deleted_at;                       /* microseconds since the epoch */
    char request_id[MAX_REQUEST_ID_BYTES + 1]; /* empty: nobody will repeat it */
    uint8_t request_hash[MAX_REQUEST_HASH_BYTES];
    size_t request_hash_len;
    uint64_t since_lsn;
};

#define CUT_AT_RECORD UINT64_MAX

/* Where a branch's documents are: in the log, or in collections of MongoDB. A base is a log branch without a name that
 * collections of MongoDB are copied to; WAL branches begin with it as a whole. */
enum branch_kind { BRANCH_WAL, BRANCH_TRADITIONAL, BRANCH_BASE };

/* Of a traditional branch. What a newer version says here is BRANCH_STATE_UNKNOWN: it is left alone. */
enum branch_state {
    BRANCH_READY,
    BRANCH_CREATING,
    BRANCH_DELETING,
    /* its migration, see migration.h; in the order in which it goes */
    BRANCH_PREPARING,
    BRANCH_FROZEN,
    BRANCH_RENAMED,
    BRANCH_STARTED,
    BRANCH_COPIED,
    BRANCH_VERIFIED,
    BRANCH_CONFIRMING,
    BRANCH_CONFIRMED,
    BRANCH_ROLLING_BACK,
    BRANCH_HANDING_BACK,
    BRANCH_STATE_UNKNOWN,
};

struct branch_record {
    const char *id;
    const char *name;
    const char *parent; /* branch id; NULL for main, and for a branch that was adopted */
    /* The parent's state at this LSN is where the branch begins; CUT_AT_RECORD in a new record of a fork from
     * the head. */
    uint64_t cut;
    /* The end of the batch that created the branch; its own entries are later. */
    uint64_t base;
    uint64_t created_at; /* microseconds since the epoch */
    bool deleted;
    enum branch_kind kind;
    /* Of a traditional branch: its collections are prefix + name in the database. */
    enum branch_state state;
    const char *database;
    const char *prefix;
    uint64_t epoch;         /* one more with each that took its creation or migration over */
    struct bytes migration; /* a document, see migration.h; empty: none */
    /* Of a WAL branch: writes wait, since it is about to be handed back to the traditional one that it took over from. */
    bool held;
    /* Of a base: the traditional branch, whose collections are prefix + name in the database. */
    const char *source;
    uint64_t copied;   /* so many of its collections, in name order, are on the log as a whole */
    uint64_t complete; /* the base is what its log branch holds up to this LSN; 0: not yet */
    bool isolated;     /* the copy is one point in time */
};

struct collection_record {
    const char *name;
    const char *id;
    uint64_t created_at;
    struct bytes indexes; /* an array of definitions as listIndexes gives them, without that of _id; empty: none */
};

/* The document_id of a record whose _id is this string. False: out of memory. */
CHECKED bool catalog_key(const char *id, struct arena *arena, struct bytes *key, struct error *err);

CHECKED bool catalog_encode_project(const struct project_record *record, struct arena *arena, struct bytes *document, struct error *err);
CHECKED bool catalog_decode_project(struct bytes document, struct project_record *record, struct error *err);
CHECKED bool catalog_encode_tombstone(const struct project_tombstone *tombstone, struct arena *arena, struct bytes *document,
                                      struct error *err);
CHECKED bool catalog_decode_tombstone(struct bytes document, struct project_tombstone *tombstone, struct error *err);

CHECKED bool catalog_encode_branch(const struct branch_record *record, struct arena *arena, struct bytes *document, struct error *err);
CHECKED bool catalog_decode_branch(struct bytes document, struct branch_record *record, struct error *err);
/* With strings of its own. False: out of memory. */
CHECKED bool branch_record_copy(const struct branch_record *record, struct arena *arena, struct branch_record *copy);
/* Of a record that decodes: whether it is anything but an ordinary WAL branch, for those who ask often. */
bool catalog_has_kind(struct bytes document);
/* As people read it: "ready", "preparing". */
const char *branch_state_name(enum branch_state state);
bool branch_is_migrating(const struct branch_record *record);
/* A new record does not know its LSN and time: base, created_at and, for a fork from the head, cut are absent
 * in it and filled in when it is read from the log. It is the last entry of its batch, so its LSN is the
 * batch's end. */
CHECKED bool catalog_complete_branch(struct bytes document, uint64_t lsn, uint64_t timestamp, struct arena *arena, struct bytes *completed,
                                     struct error *err);
CHECKED bool catalog_encode_name(const char *name, const char *branch_id, struct arena *arena, struct bytes *document, struct error *err);
CHECKED bool catalog_decode_name(struct bytes document, const char **branch_id, struct error *err);

CHECKED bool catalog_encode_collection(const struct collection_record *record, struct arena *arena, struct bytes *document,
                                       struct error *err);
CHECKED bool catalog_decode_collection(struct bytes document, struct collection_record *record, struct error *err);

CHECKED bool catalog_encode_setting(const char *key, const char *value, struct arena *arena, struct bytes *document, struct error *err);
CHECKED bool catalog_decode_setting(struct bytes document, const char **key, const char **value, struct error *err);

/* {_id: id} */
CHECKED bool catalog_encode_request(struct bytes id, struct arena *arena, struct bytes *key, struct bytes *document, struct error *err);

#endif
