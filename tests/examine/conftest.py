def pytest_addoption(parser):
    parser.addoption(
        "--record", action="store_true", help="write what was found to docs/record/examined.json"
    )
