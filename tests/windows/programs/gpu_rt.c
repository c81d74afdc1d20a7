/* A library that ends the process from its own thread. */
#include <windows.h>

static DWORD WINAPI infer(void *unused) {
  (void)unused;
  ExitProcess(23);
}

__declspec(dllexport) void start_inference(void) { CreateThread(NULL, 0, infer, NULL, 0, NULL); }
