/* base/failpoint.h - places where a test build can die.
 *
 * FAILPOINT("name") is nothing unless compiled with -DBANGER_FAILPOINTS, as the sanitized builds of
 * the tests are and a build that anybody installs is not; then the process kills
 * itself there with SIGKILL (no destructors, no flushing: what a power cut or the OOM killer leaves
 * behind) when BANGER_FAILPOINT=name, or name@3 for the third passage. */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

void failpoint_hit(const char *name); /* any thread; only defined in a test build */

#ifdef BANGER_FAILPOINTS
#define FAILPOINT(name) failpoint_hit(name)
#else
#define FAILPOINT(name) ((void)0)
#endif

#endif
