/* Of many places or steps that are alike, tests try each; one in so many under ThreadSanitizer, which looks for races, that are in any
 * of them, and takes ten times as long. */
#ifndef ARGON_TESTS_SUPPORT_THINNING_H
#define ARGON_TESTS_SUPPORT_THINNING_H

#ifdef __SANITIZE_THREAD__
enum { TRY_ONE_IN = 7 };
#else
enum { TRY_ONE_IN = 1 };
#endif

#endif
