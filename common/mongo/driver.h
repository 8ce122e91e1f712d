/* The MongoDB driver in this process, before anything is done with it.
 *
 * Threads    any.
 */
#ifndef ARGON_COMMON_MONGO_DRIVER_H
#define ARGON_COMMON_MONGO_DRIVER_H

/* The driver says nothing by itself from then on: what it has to say is in the errors. What it keeps for the whole process
 * lives until its end: clients of other threads may still use it when main returns. */
void mongo_driver_start(void);

#endif
