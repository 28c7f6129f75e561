"""The contract with other services, from the models: schemas, examples, AsyncAPI, tables of fields."""
