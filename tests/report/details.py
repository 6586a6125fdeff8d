def base_details():
    return {}
