/*
 * vthread/library.h - loading shared libraries.
 *
 *     void *handle;
 *     char why[256];
 *     int err = vthread_dlopen("libm.so.6", RTLD_NOW, &handle, why,
 *                              sizeof why);
 *     if (err != 0)
 *         fprintf(stderr, "%s\n", why);
 *
 * Loading reads files and runs the constructors of what is loaded.  The
 * thread does that itself; the other threads of its carrier go on elsewhere
 * meanwhile.  dlsym(3) does not block and is called as it is; its dlerror(3)
 * is to be called before any wait, for the text belongs to the OS thread.
 */
#ifndef VTHREAD_LIBRARY_H
#define VTHREAD_LIBRARY_H

#include <dlfcn.h>
#include <stddef.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * As dlopen(3); path may be NULL, for the program itself.  The handle is
 * stored in *handle with result 0 only.  The text of dlerror(3), cut to the
 * size, is stored in message (unless NULL): "" if there is none.
 *
 * Returns  0; ELIBACC when dlopen fails; ENOMEM; ECANCELED while it waits
 *          for its turn.
 * Blocks   the virtual thread, and its OS thread.
 */
VTHREAD_API int vthread_dlopen(const char *path, int flags, void **handle,
                               char *message, size_t size_bytes);

/* As dlclose(3), which runs destructors.  Returns and blocks as above. */
VTHREAD_API int vthread_dlclose(void *handle, char *message,
                                size_t size_bytes);

#ifdef __cplusplus
}
#endif

#endif
