/* What programs go by beside the code of an error; docs/errors.md is their table. */
#ifndef ARGON_BRANCH_REASONS_H
#define ARGON_BRANCH_REASONS_H

#define REASON_DUPLICATE_KEY     "DUPLICATE_KEY"     /* keys: what is there already */
#define REASON_WRITE_CONFLICT    "WRITE_CONFLICT"    /* keys: what other writers were faster with */
#define REASON_REQUEST_ID_REUSED "REQUEST_ID_REUSED" /* for another request */
#define REASON_REQUEST_FORGOTTEN "REQUEST_FORGOTTEN" /* nobody can tell its outcome any more */
#define REASON_OTHER_LOG         "OTHER_LOG"         /* since_lsn is of another log */
#define REASON_INCOMPLETE        "INCOMPLETE"        /* some steps are done; the same request_id goes on */
#define REASON_PARTIALLY_APPLIED "PARTIALLY_APPLIED" /* some steps are done and stay; the rest never will be */
#define REASON_TOO_LARGE         "TOO_LARGE"         /* for one batch */
#define REASON_WAL_BRANCHES_OFF  "WAL_BRANCHES_OFF"  /* wal.enabled is false */
#define REASON_NEEDS_MONGODB     "NEEDS_MONGODB"     /* for a traditional branch */
#define REASON_NEEDS_WAL_BRANCH  "NEEDS_WAL_BRANCH"  /* keys: the options that a traditional branch does not have */

#endif
