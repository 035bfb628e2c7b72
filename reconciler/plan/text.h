/* plan/text.h - the strings that a plan from the wire owns.
 *
 * In a plan that was made here keys are static and the stack's name is borrowed; one that was read
 * has neither to point at. Few distinct strings (field names), so a list will do. */
#ifndef PLAN_TEXT_H
#define PLAN_TEXT_H

struct plan_text;

/* The kept copy of text; equal texts give the same pointer, valid until plan_text_free(). */
const char *plan_text_keep(struct plan_text **texts, const char *text);
void plan_text_free(struct plan_text *texts); /* NULL is fine */

#endif
