/* python.exe: passes its command line to the Python library beside it. */
#include <windows.h>

#include <shellapi.h>
#include <stdio.h>

typedef int (*main_t)(int, wchar_t **);

int main(void) {
  int count;
  wchar_t **arguments = CommandLineToArgvW(GetCommandLineW(), &count);
  HMODULE library = LoadLibraryW(PYTHON_DLL);
  main_t py_main = library ? (main_t)(void *)GetProcAddress(library, "Py_Main") : NULL;
  if (!py_main) {
    fprintf(stderr, "cannot load %ls: error %lu\n", PYTHON_DLL, GetLastError());
    return 253;
  }
  return py_main(count, arguments);
}
