/* agent/home.h - what a new work disk starts with: the image's own files at that place.
 *
 * The work disk is mounted over a folder of the image, /root mostly, and would hide what the image
 * has prepared there. So a disk that holds nothing yet gets a copy first. */
#ifndef AGENT_HOME_H
#define AGENT_HOME_H

#include "base/error.h"

#include <stdbool.h>

#define HOME_DEPTH_MAX 32

/* Nothing in it but lost+found. */
bool home_is_empty(int folder);
/* Copies folders, files and symlinks with owner, mode and time from one open folder into another;
 * other kinds and what lies on other filesystems are left out. What is there already stays. The
 * first failure ends it: half a home is better than no boot, and the caller says so. */
int home_copy(int from, int to, struct error *err);

#endif
