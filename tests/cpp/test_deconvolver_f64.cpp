#include "deconvolver_cases.h"

int main() { return fastdeblur::tests::check_all<double>(1e-13); }
