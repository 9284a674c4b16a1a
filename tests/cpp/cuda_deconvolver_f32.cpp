#include "cuda_deconvolver_cases.h"
#include "cuda_error_cases.h"

int main() {
  fastdeblur::tests::check_all<float>();
  return fastdeblur::tests::check_errors<float>();
}
