/* tests/driver/guest.h - a kernel of a few hundred bytes, so that the driver's tests can run real
 * VMs without an image. It has the header of a bzImage and real-mode code that sends bytes to the
 * serial line and then resets the machine, or halts for good. */
#ifndef TESTS_DRIVER_GUEST_H
#define TESTS_DRIVER_GUEST_H

#include <stdint.h>
#include <string.h>

#define GUEST_KERNEL_BYTES 4096

enum guest_end { GUEST_HALTS, GUEST_RESETS };

/* Appends to the code at *at. */
static inline void guest_code(unsigned char *image, size_t *at, const void *bytes, size_t len)
{
	memcpy(image + *at, bytes, len);
	*at += len;
}

/* Sends count dots and then does what end says. */
static inline void guest_kernel(unsigned char image[GUEST_KERNEL_BYTES], uint32_t count,
				enum guest_end end)
{
	static const unsigned char header[] = {
		0x01, /* 0x1f1 one sector of setup after the first */
		0,    0,    0,	  0,	0,    0,    0, 0, 0, 0, /* 0x1f2 .. 0x1fb */
		0,    0,    0x55, 0xaa,				/* 0x1fe boot flag */
		0xeb, 0x66,					/* 0x200 jmp 0x268 */
		'H',  'd',  'r',  'S',	0x0c, 0x02,		/* 0x206 protocol 2.12 */
	};
	/* mov ecx, count; mov dx, 0x3f8; mov al, '.'; again: out dx, al; dec ecx; jnz again */
	unsigned char send[] = { 0x66, 0xb9, 0,	  0,	0,    0,    0xba, 0xf8,
				 0x03, 0xb0, '.', 0xee, 0x66, 0x49, 0x75, 0xfb };
	static const unsigned char reset[] = { 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee };
	static const unsigned char halt[] = { 0xfa, 0xf4, 0xeb, 0xfd }; /* cli; hlt; jmp -3 */
	memset(image, 0, GUEST_KERNEL_BYTES);
	memcpy(image + 0x1f1, header, sizeof(header));
	image[0x211] = 0x01;		/* loaded high */
	memset(image + 0x22c, 0xff, 3); /* initrd_addr_max */
	image[0x22f] = 0x37;
	memcpy(send + 2, &count, sizeof(count));
	size_t at = 0x268;
	if (count)
		guest_code(image, &at, send, sizeof(send));
	if (end == GUEST_RESETS)
		guest_code(image, &at, reset, sizeof(reset));
	guest_code(image, &at, halt, sizeof(halt));
}

#endif
