/* One crypto context for all inputs of a run: it holds no state of theirs, and its randomness begins anew with each call. */
#ifndef ADIT_TESTS_CONTEXT_H
#define ADIT_TESTS_CONTEXT_H

#include "adit/crypto.h"

struct crypto *fuzz_crypto(void);

#endif
