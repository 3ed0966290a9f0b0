/* crypto/esp_mb: the two backends of Intel's ipsec-mb. */
#ifndef ADIT_CRYPTO_ESP_MB_H
#define ADIT_CRYPTO_ESP_MB_H

#define NO_COMPAT_IMB_API_053 /* old names of it are OpenSSL's too */
#include <intel-ipsec-mb.h>

#include "esp.h"

extern const struct esp_backend esp_mb_gcm, esp_mb_hmac;
/* Find out from how many packets on the wide manager is the quicker one, by trying: it depends on the processor. */
void esp_mb_hmac_tune(struct crypto *c);

#endif
