/* Dice for property tests. */
#ifndef TESTS_TEST_DICE_HELP_H
#define TESTS_TEST_DICE_HELP_H

#include <stdint.h>

/* xorshift: the same worlds every time, so that a failure can be looked at again. */
static uint64_t seed;
static inline unsigned roll(unsigned sides)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % sides);
}

#endif
